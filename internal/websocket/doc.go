// Package websocket knows the frames of RFC 6455, and the few lines of HTTP that
// lead to them: enough to pass a websocket on, to put a frame of one's own between
// two others, and to read and write messages where one must.
//
// Nothing here does any I/O or holds a buffer. All of it may be called from any
// goroutine, but a Follower belongs to one.
package websocket
