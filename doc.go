// Package helixflow is the vocabulary every room of the router shares: the
// operations of OpenAI's API, the kinds of error, header names and usage. It
// imports the standard library only and holds no state.
package helixflow
