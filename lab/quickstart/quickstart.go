// Package quickstart reads the quick starts in docs/quickstart and does what
// they say, so that none of them can rot.
//
// What is executed stands in blocks that begin with ```console:
//
//	kvm01# volbridge volume create flash/web1 --size 20GiB
//	created volume flash/web1: 20GiB
//
// A line that begins with the name of a host and "# " is a command line for
// root's shell on that host, in root's home; it goes on behind a backslash at
// its end, and to the end of a here-document. It runs as it stands, each one in
// a shell of its own, of which only $? is kept. The lines below it, up to the
// next prompt, are all that it prints, on both outputs. An … is any text: within
// a line of at least one character, on a line of its own of any number of
// lines. Blank lines at the end do not count.
//
// A command has to end with 0, unless the next one is "echo $?", which shows
// what it ended with.
//
// Blocks of another language are for the reader only. A block has to say what
// it is.
package quickstart

// Document is one quick start.
type Document struct {
	Path  string
	Steps []Step
}

// Step is a command line and what it prints.
type Step struct {
	Line    int // of the document
	Host    string
	Command string   // with its here-documents
	Output  []string // as the document shows it
}

// showsExit is the command line that follows one which fails.
const showsExit = "echo $?"
