//go:build !lab

package main

import "github.com/volbridge/volbridge/blockdev"

// machine is the machine that this process runs on.
func machine() blockdev.Host { return blockdev.System() }
