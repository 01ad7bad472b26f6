// Package handover is how a serving process talks to what starts and replaces
// it: listening sockets passed from an old process to a new one, sockets
// received from systemd, and the messages systemd wants to hear.
//
// # Overview
//
// Serve offers the listeners of this process on a unix socket; Take, in the new
// process, receives them:
//
//	new                          old
//	ask                     →
//	                        ←    offer: names, and the descriptors beside them
//	(both accept from now on: the queue of connections belongs to the socket,
//	not to a process, so none is refused and none is reset)
//	commit                  →
//	                        ←    yours, then the connection closes
//	                             (stops accepting, drains, ends)
//
// Until the commit the old process changes nothing: a new one that dies, stalls
// or gives up costs nothing. One process at a time may take over. Where the
// commit meets an old process that died, the new one has the only copies and
// goes on.
//
// Every message is a frame: "hfxh", a version, a kind, the payload's length
// (two bytes, big endian), the payload. Names in an offer are one a line, in the
// order of the descriptors (SCM_RIGHTS, unix(7)).
//
// Activated receives sockets from systemd (sd_listen_fds(3)), Notifier reports
// to it (sd_notify(3)). Passing listeners works on Linux, macOS and FreeBSD;
// elsewhere Serve and Take say that they cannot.
//
// # Concurrency
//
// A Handler has one goroutine that accepts and at most one more, for the process
// that is taking over; Close ends both and waits for them. Handler and Notifier
// are safe for concurrent use, a Taken is for one goroutine.
//
// # Ownership
//
// Serve borrows the listeners: whoever made them closes them, after Close or
// after Given. The socket file belongs to the Handler until Given, from then on
// to the successor. What Take and Activated return belongs to the caller.
package handover
