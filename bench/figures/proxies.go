package main

// Proxies that do as little as their library allows.

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"
)

// serveBare forwards over fasthttp. Only answers that are asked for as streams are
// read as such: it costs whole ones two thirds more.
func serveBare(address, engine string) error {
	plain := &fasthttp.HostClient{Addr: engine, MaxConns: 20_000, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true, NoDefaultUserAgentHeader: true}
	streams := &fasthttp.HostClient{
		Addr: engine, MaxConns: 20_000, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
		NoDefaultUserAgentHeader: true, StreamResponseBody: true,
	}
	return listen(address, func(ctx *fasthttp.RequestCtx) {
		client := plain
		if bytes.Contains(ctx.PostBody(), []byte(`"stream":true`)) {
			client = streams
			ctx.Response.ImmediateHeaderFlush = true
		}
		ctx.Request.Header.Del("Connection")
		if err := client.Do(&ctx.Request, &ctx.Response); err != nil {
			ctx.Error(err.Error(), fasthttp.StatusBadGateway)
		}
		ctx.Response.Header.Del("Connection")
	})
}

// serveReverse forwards as the standard library does.
func serveReverse(address, engine string) error {
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: engine}) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConns: 20_000, MaxIdleConnsPerHost: 20_000, DisableCompression: true},
	}
	s := &http.Server{Addr: address, Handler: proxy, ReadHeaderTimeout: time.Minute}
	if err := s.ListenAndServe(); err != nil {
		return fmt.Errorf("cannot serve %s: %w", address, err)
	}
	return nil
}

// nginx's and HAProxy's configuration: a proxy that keeps its connections.
const nginxConfig = `daemon off; pid %[1]s/nginx.pid; worker_processes auto; error_log stderr crit; worker_rlimit_nofile 65536;
events { worker_connections 20000; }
http {
  access_log off; keepalive_requests 1000000; client_max_body_size 64m; client_body_buffer_size 128k;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream engine { server %[3]s; keepalive 2000; keepalive_requests 1000000; }
  server { listen %[2]s; location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } }
}
`

const haproxyConfig = `global
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  http-reuse always
frontend clients
  bind %[2]s
  default_backend engine
backend engine
  server engine %[3]s maxconn 8000
`
