// Package adminpage looks at the admin listener's status page in a real
// browser.
//
// # Overview
//
// Run with
//
//	go test -tags integration ./tests/admin_page/
//
// It needs chromium in the path, or the one CHROMIUM names. The page is served
// by package admin from made-up data; the browser is headless and told what to
// do over the DevTools protocol (https://chromedevtools.github.io), on a pipe,
// so that nothing but the page's address is on the network. With
// ADMIN_PAGE_SHOTS=DIR the tests leave screenshots there.
//
// # Concurrency
//
// One browser serves all tests of a run, a tab each.
//
// # Ownership
//
// A browser owns its process and a profile that goes with it.
package adminpage
