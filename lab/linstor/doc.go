// Package linstor is a stand-in for a LINSTOR controller: its REST API, as far
// as volbridge and the tests use it, with nodes, storage pools, replicas,
// diskless clients and tie-breakers. It keeps everything in memory; what hosts
// see is the business of a Satellites.
//
// What it does is what the controller is documented to do, and its requests and
// replies are checked against the controller's own OpenAPI document. Where it
// knows better than a lax client it is strict: an exact size is refused once a
// resource is deployed, and blocks a resize; a connection of two diskless nodes
// has no effect.
package linstor
