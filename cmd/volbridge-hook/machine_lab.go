//go:build lab

package main

import (
	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/lab/clusters/played"
	"github.com/volbridge/volbridge/lab/nvmesim"
)

// machine is a host of a lab without NVMe and DRBD of its own. Only the lab's
// tests build this; see packages nvmesim and played.
func machine() blockdev.Host { return played.Machine(nvmesim.Machine()) }
