// Command drbdtool is drbdadm and drbdsetup on the hosts of a lab whose DRBD is
// played; see package drbdsim. It goes by the name that it is called by.
package main

import (
	"fmt"
	"os"

	"github.com/volbridge/volbridge/lab/drbdsim"
)

func main() {
	drbdsim.Main()
	fmt.Fprintln(os.Stderr, "drbdtool: call it by a link that is named drbdadm or drbdsetup")
	os.Exit(2)
}
