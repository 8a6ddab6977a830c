// Package flasharray is a stand-in for the controller of a FlashArray: it
// speaks REST 2.x as the array does, with the array's texts where they are
// known from public drivers, and shows its volumes to hosts through a DataPath.
//
// It is strict where the array is strict (unknown query parameters, sizes,
// names, parameters of a later REST version), because a stand-in that forgives
// hides mistakes. It can be told to misbehave at the n-th call; see FailAt.
//
// What the array's public documents do not say is decided for the stricter
// reading: a destroyed volume keeps its name until it is eradicated, and a
// connected volume cannot be destroyed.
package flasharray
