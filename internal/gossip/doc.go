// Package gossip tells other replicas of the router what one of them has found
// out: small packets that may be lost. Who the others are is found out by
// HashiCorp's memberlist (SWIM, Das et al. 2002), encrypted and authenticated by a
// secret that all share.
//
// # Concurrency
//
// A Node is safe for concurrent use. Receive is called from the node's goroutines,
// for one packet at a time, and must not wait.
//
// # Ownership
//
// Send borrows the packet for the call; Receive is lent one.
package gossip
