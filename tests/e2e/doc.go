// Package e2e drives the built binary from outside: each txtar file here is a
// script against a running router, with tests/fakellm as its backends.
//
// # Overview
//
// Run with
//
//	go test -tags integration ./tests/e2e/
//
// The binary is the one HELIXFLOW_BIN names, else the test builds it. Scripts
// whose name begins with hangup or alldown measure time: they run first and
// alone, the others in parallel. Beside testscript's own commands and its variables there
// are KEY and KEY2, two API keys, KEY_HASH and KEY2_HASH for the configuration,
// DEAD, an address where nobody listens, and ROOT, the repository. Commands:
//
//	helixflow [-exit N] ARGS...          run the binary; stdout and stderr are its own
//	router start [-env K=V] NAME ARGS... run "serve ARGS", wait until ready; sets NAME and NAME_ADMIN to its addresses
//	router signal NAME TERM|INT|KILL|HUP
//	router unready NAME                  /readyz refuses within a second
//	router wait [-within D] NAME N       it has exited, with code N
//	router out|log [-has TEXT] NAME      its stdout or stderr becomes stdout, once TEXT is there (or 5 s passed)
//	cert                                 write tls.crt and tls.key for 127.0.0.1; -tls trusts it
//	fake start [-max N] [-idle D] [-tls] NAME   sets NAME to its address, NAME_PORT to its port
//	fake queue NAME SCRIPT...            as tests/fakellm describes; body=@FILE is the file, all of it
//	fake down [-reset] NAME · fake up NAME · fake forget NAME
//	fake expect NAME WHAT=N...           requests, conns, open, left, queued, with = < > <= >=; waits up to 5 s
//	fake last [-back N] NAME             the last request's head and body become stdout, or those of the N-th before it
//	idp start [-tls] [-at ADDR] NAME     an issuer of tokens; sets NAME to its URL and NAME_ADDR to its address
//	idp publish NAME KID...              its keys from now on, RSA for one, P-256 for others; one by default
//	idp answers NAME [html|empty|500]    instead of its keys; nothing for the keys
//	idp expect NAME N                    so often were they fetched
//	idp stop NAME
//	token [-kid K] [-typ T] VAR IDP CLAIM=VALUE...  sets VAR to a token of it; VALUE is JSON, a word or, from now, a duration
//	authority NAME                       an authority for client certificates, in NAME.crt
//	client [-spiffe ID] [-cn NAME] NAME AUTHORITY   a client certificate
//	http [FLAGS] METHOD ADDR/PATH [BODY|@FILE]  one request; the answer becomes stdout, "[cut: why]" behind it if it was cut
//	    -key K   instead of KEY; '' for none         -H 'N: V'   more headers
//	    -cert NAME  show this client certificate, over TLS
//	    -tls     -hex  BODY is hexadecimal           -fill SIZE  a chat body of that size
//	    -form NAME=VALUE or NAME=@FILE, or @300KiB: a multipart form instead of BODY, its parts in this order
//	    -chunked send BODY chunked                   -within D   the whole answer
//	    -o FILE  the body goes there instead
//	    -has TEXT ask again until the body has it   -for D  but no longer than this, 5 s
//	    -n N     so often, on one connection; stdout is then a count per outcome
//	    -bg ID   return after the first byte of body; "join ID" gives the rest
//	    -sent    with -bg: return at once
//	refused STATUS TYPE CODE [PARAM]     the last answer is exactly this OpenAI error object
//	raw [-tls] [-half] [-wait D] [-until TEXT] ADDR FILE...  send these bytes, print what comes back, then [closed], [reset] or [open]
//	    in a head LF becomes CRLF, ${VAR} is filled in, @LEN is the length of the body
//	hangup [-tls] [-n 20] [-within 50ms] [-how fin|rst|half] PHASE ROUTER FAKE
//	    PHASE is prefill, unary, headers, body, stream, busy, pipelined or behind
//	ws open [-key K] [-H 'N: V']... [-p PROTOCOL]... [-tls] NAME ADDR/PATH   the answer becomes stdout
//	ws send NAME TEXT|@FILE... · ws recv NAME [N] · ws until NAME TEXT   messages become stdout, or [close CODE REASON], or [cut: why]
//	ws ping NAME · ws close NAME CODE [REASON] · ws leave NAME [rst]
//	ws hangup [-tls] [-n 20] [-within 50ms] [-how fin|rst] ADDR/PATH FAKE
//	bystanders [-tls] [-n 20] [-how fin|rst] ROUTER FAKE
//
// Whatever the script checks, each router must have ended without a panic and
// without printing a key.
//
// # Concurrency
//
// Scripts share nothing but the binary and the keys. Goroutines of a script end
// with it.
//
// # Ownership
//
// A world owns the processes, backends and requests of one script.
package e2e
