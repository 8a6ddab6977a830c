// Package migrate moves a running domain to another host, with the array
// permissions that this needs, and returns what a move that died has left.
//
// # The life of a migration
//
//	planned ─▶ preparing ─▶ moving ─▶ arrived ─▶ finished
//	               │           │
//	               └───────────┴────▶ undoing ─▶ undone
//
// Everything up to `planned` only looks. In `preparing` the volumes of the
// copied disks are made; in `moving` libvirt has been told to migrate, and the
// destination's hook grants, attaches and checks. `arrived` is the point of no
// return: libvirt was seen to run the guest on the destination and no longer
// on the source. Before it, everything goes back; after it, recovery only goes
// forward.
//
// Each step is stored as *trying*, together with what undoes it, before it
// runs, and as *done* after. A live migration holds a lock file for as long as
// its process lives, so that Recover can tell a slow one from a dead one.
// Where the guest is, libvirt says, never the record.
package migrate
