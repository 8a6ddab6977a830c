package scan

// Need says how much of the hook an operation needs.
type Need int

const (
	// Nothing: the operation is none of ours, whatever the domain.
	Nothing Need = iota
	// Disks: only a domain with a managed disk is of interest.
	Disks
	// Records: so is a domain that has records, whatever its disks are now.
	Records
)

// needs are the operations that do something, as libvirt calls them: argv[2]
// and argv[3].
var needs = []struct {
	op, subOp string
	need      Need
}{
	{"prepare", "begin", Disks},
	{"migrate", "begin", Disks},
	{"restore", "begin", Disks},
	{"attach", "begin", Disks},
	{"reconnect", "begin", Records},
	{"release", "end", Records},
}

// Needs returns what an operation needs. Operations that libvirt may add one
// day need nothing.
func Needs(op, subOp string) Need {
	for _, n := range needs {
		if n.op == op && n.subOp == subOp {
			return n.need
		}
	}
	return Nothing
}

// Idle says whether the hook has nothing to do for a domain.
func Idle(need Need, xml []byte, hintDir string) bool {
	switch {
	case need == Nothing:
		return true
	case Managed(xml):
		return false
	case need == Disks:
		return true
	}
	return !Hinted(hintDir, UUID(xml))
}
