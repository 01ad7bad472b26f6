package metric

// The names of the families, and the text format they are written in.

import "strconv"

// family is what Prometheus' text format says of the series of one name.
type family struct{ name, kind, help string }

// The families, in the order they are written.
var (
	buildInfo           = family{"helixflow_build_info", "gauge", "Always 1; the labels say which build runs."}
	requestsTotal       = family{"helixflow_requests_total", "counter", "Finished requests by the status the client was answered; 499 when it left."}
	requestDuration     = family{"helixflow_request_duration_seconds", "histogram", "Time from a request's first byte to its answer's last; of a websocket to its opening."}
	timeToFirstToken    = family{"helixflow_time_to_first_token_seconds", "histogram", "Time from a request's first byte to the first token sent to the client, streams only."}
	timePerToken        = family{"helixflow_time_per_output_token_seconds", "histogram", "Time between two output tokens of a stream, on average over the stream, by the backend's count of them."}
	tokensTotal         = family{"helixflow_tokens_total", "counter", "Tokens as backends reported them; cached is part of input, reasoning is part of output."}
	overheadSeconds     = family{"helixflow_overhead_seconds", "histogram", "Time the router itself added to a request."}
	backendRequests     = family{"helixflow_backend_requests_total", "counter", "Tries on a backend by the status it answered; none when no answer came."}
	backendRetries      = family{"helixflow_backend_retries_total", "counter", "Tries that failed on a backend and were followed by another."}
	backendInflight     = family{"helixflow_backend_inflight", "gauge", "Requests on a backend now."}
	backendLimit        = family{"helixflow_backend_concurrency_limit", "gauge", "Requests that a backend can take at once, as its answers have shown; absent where that is not looked for."}
	backendEjections    = family{"helixflow_backend_ejections_total", "counter", "Times a backend was taken out because it failed."}
	backendWarmups      = family{"helixflow_backend_warmups_total", "counter", "Requests that were to warm a backend up before it was taken in, which it is either way."}
	backendState        = family{"helixflow_backend_state", "gauge", "1 for the state a backend is in, 0 for the others."}
	backendCertificate  = family{"helixflow_backend_certificate_expiry_timestamp_seconds", "gauge", "When the TLS certificate that a backend showed last runs out, in Unix time."}
	backendSignal       = family{"helixflow_backend_signal", "gauge", "What a backend's engine told of itself last, while that is not too old: running and waiting requests, shares from 0 to 1 (kv_use, prefix_hits, quota_use), kv_tokens, slots, preemptions."}
	backendSignalKnown  = family{"helixflow_backend_signal_known", "gauge", "1 for a signal that is known, 0 for one that the engine should tell and does not: what goes by it is off there."}
	backendReads        = family{"helixflow_backend_metrics_reads_total", "counter", "Reads of a backend's own metrics, by what came of them; slow ones took more than 100 ms."}
	backendRestarts     = family{"helixflow_backend_restarts_total", "counter", "Times a backend's own metrics showed that the engine had begun anew, with an empty cache."}
	poolPanic           = family{"helixflow_pool_panic", "gauge", "1 while less than half of a pool is healthy, so that ejections are ignored."}
	backendPrefill      = family{"helixflow_backend_prefill_tokens", "gauge", "Prompt tokens promised to a backend that it has neither cached nor read yet, as far as its first tokens tell."}
	backendKV           = family{"helixflow_backend_kv_tokens", "gauge", "Tokens that a backend's running requests hold, or are expected to."}
	backendRate         = family{"helixflow_backend_prefill_rate", "gauge", "Prompt tokens a second that a backend is believed to read."}
	backendSlowdown     = family{"helixflow_backend_slowdown", "gauge", "How slow a backend is beside the others of its pool; 1 while it is about as fast."}
	backendInterference = family{"helixflow_backend_interference", "gauge", "By how much running requests prolong each step of a backend, over what was configured."}
	picksTotal          = family{"helixflow_picks_total", "counter", "Choices of a backend, by why it was the one."}
	firstTokenRatio     = family{"helixflow_first_token_ratio", "histogram", "Time to the first token of a stream over what was predicted when its backend was chosen."}
	prefixTokens        = family{"helixflow_prefix_tokens_total", "counter", "Prompt tokens of requests whose engine tells what it found cached: all of them, those that were expected to be cached, those that were."}
	prefixEntries       = family{"helixflow_prefix_index_entries", "gauge", "Blocks of prompts that a pool's prefix index remembers."}
	prefixCapacity      = family{"helixflow_prefix_index_capacity", "gauge", "Blocks it has room for."}
	prefixBytes         = family{"helixflow_prefix_index_bytes", "gauge", "Memory it may take at most."}
	prefixEvictions     = family{"helixflow_prefix_index_evictions_total", "counter", "Blocks that made room for others before their time."}
	shadowPicks         = family{"helixflow_shadow_picks_total", "counter", "Choices of a policy in shadow, by whether the pool's own policy made the same."}
	shadowSeconds       = family{"helixflow_shadow_seconds_total", "counter", "Seconds by which choices of a policy in shadow were predicted to be better, or worse, than those that were made."}
	hedgesTotal         = family{"helixflow_hedges_total", "counter", "Requests whose first backend was late: a second one answered (won), or not (lost, failed), or was not asked (skipped)."}
	hookRequests        = family{"helixflow_hook_requests_total", "counter", "Looks of a hook at a request (before) or an answer (after), by what came of it."}
	hookDuration        = family{"helixflow_hook_duration_seconds", "histogram", "Time that a request waited for a hook."}
	clientDisconnects   = family{"helixflow_client_disconnects_total", "counter", "Clients that left before their answer was complete."}
	streamTruncations   = family{"helixflow_stream_truncations_total", "counter", "Streams a backend cut after the client had begun to read."}
	limitRejections     = family{"helixflow_ratelimit_rejections_total", "counter", "Requests that a limit refused, or would have if it were no shadow; name is the configured one of the scope."}
	queueLength         = family{"helixflow_queue_length", "gauge", "Requests that wait for room on a backend now."}
	queueRejections     = family{"helixflow_queue_rejections_total", "counter", "Requests that found no room to wait (full), waited in vain (expired), or stood back for others (shed)."}
	givenUpTotal        = family{"helixflow_requests_given_up_total", "counter", "Requests that were ended for the memory that they held, since the process ran out of it."}
	shedTotal           = family{"helixflow_requests_shed_total", "counter", "Requests that were refused early to make room for others, by their tenant's class."}
	queueWait           = family{"helixflow_queue_wait_seconds", "summary", "Time that requests waited which then found room."}
	pressureLevel       = family{"helixflow_pressure_level", "gauge", "How short the process is of memory or descriptors: 0 calm, 1 trim, 2 lean, 3 shed, 4 refuse."}
	resourceUsed        = family{"helixflow_resource_used", "gauge", "What the process uses of what the level goes by: memory in bytes, descriptors."}
	resourceLimit       = family{"helixflow_resource_limit", "gauge", "How much of it there is."}
	websocketsOpen      = family{"helixflow_websockets_open", "gauge", "Websockets that are open now."}
	websocketsTotal     = family{"helixflow_websockets_total", "counter", "Websockets that have ended, by what ended them."}
	websocketBytes      = family{"helixflow_websocket_bytes_total", "counter", "Bytes over websockets: in from clients, out to them."}
	clusterHomes        = family{"helixflow_cluster_homes", "gauge", "1 while prompts go by homes, since other routers do not tell what they send where; else 0."}
	clusterMembers      = family{"helixflow_cluster_members", "gauge", "Replicas of the router that know of each other, this one included."}
	clusterPackets      = family{"helixflow_cluster_packets_total", "counter", "Packets to other replicas and from them; failed ones were not sent, refused ones made no sense here."}
	clusterPlacements   = family{"helixflow_cluster_placements_total", "counter", "Placements of prompts that other replicas were told (told) and told us (heard), and those for which there was no time (dropped)."}
	clusterHints        = family{"helixflow_cluster_hints_total", "counter", "Hints that a backend went out: told to other replicas, heard from them, backends that were checked for that (checked), and those for which there was no time (dropped)."}
	configReloads       = family{"helixflow_config_reloads_total", "counter", "Tries to put another configuration into force."}
	configReloadSuccess = family{"helixflow_config_last_reload_success", "gauge", "1 if the last reload was put into force, 0 if it was refused; absent before the first."}
	configGeneration    = family{"helixflow_config_generation", "gauge", "Which configuration is in force, counted from the start."}
	configReloadTime    = family{"helixflow_config_last_reload_timestamp_seconds", "gauge", "When the last reload was tried, in Unix time."}
	tlsCertificateEnd   = family{"helixflow_tls_certificate_expiry_timestamp_seconds", "gauge", "When the certificate that a listener shows runs out, in Unix time."}
	tlsCertificateDays  = family{"helixflow_tls_certificate_days_left", "gauge", "Days until then; below zero when it has run out."}
	accessLogLines      = family{"helixflow_access_log_lines_total", "counter", "Lines of the access log; dropped ones had no room or could not be written."}
	accessLogFailures   = family{"helixflow_access_log_failures_total", "counter", "Writes to the access log that failed."}
	cacheRequests       = family{"helixflow_cache_requests_total", "counter", "Requests for models that have a cache, by what it had to do with them: hit, miss, or bypass where the answer may not be kept."}
	cacheSavedTokens    = family{"helixflow_cache_saved_tokens_total", "counter", "Tokens of answers that came from the cache."}
	cacheSavedUSD       = family{"helixflow_cache_saved_usd_total", "counter", "What they would have cost, by the prices of the models."}
	cacheAnswers        = family{"helixflow_cache_answers", "gauge", "Answers in the cache's memory now."}
	cacheBytes          = family{"helixflow_cache_bytes", "gauge", "Memory they use, with those that are being gathered."}
	cacheLimit          = family{"helixflow_cache_limit_bytes", "gauge", "Memory they may use."}
	cacheDropped        = family{"helixflow_cache_dropped_total", "counter", "Answers that left because their time was over or others needed the room (evicted), or were too long to be kept, or found no room (refused)."}
	cacheShared         = family{"helixflow_cache_shared_total", "counter", "Answers that were found in Redis (hit), were not written there since it was too slow or away (dropped), or were not believed (foreign)."}
	cacheFlights        = family{"helixflow_cache_flights", "gauge", "Answers on their way that whoever asks the same meanwhile shares."}
	cacheFollowers      = family{"helixflow_cache_followers", "gauge", "Requests that get one of them, those that began it included."}
	cacheLost           = family{"helixflow_cache_followers_lost_total", "counter", "Requests that read so slowly that they were cut off from an answer they shared."}
	idempotencyRequests = family{"helixflow_idempotency_requests_total", "counter", "Requests with an idempotency key, by what was known of it: first, running, replayed, reused."}
	idempotencyAnswers  = family{"helixflow_idempotency_answers", "gauge", "Answers kept for idempotency keys now."}
	idempotencyBytes    = family{"helixflow_idempotency_bytes", "gauge", "Memory they use, with those that are being gathered."}
	idempotencyDropped  = family{"helixflow_idempotency_dropped_total", "counter", "Answers that made room for others before their time (evicted), or were too long to be kept, or found no room (refused)."}
	authFailures        = family{"helixflow_auth_failures_total", "counter", "Requests whose credential was not accepted, by the reason, which their callers do not learn."}
	authThrottled       = family{"helixflow_auth_throttled_total", "counter", "Those of them that were told to wait, since too many came from their address."}
	keyringKeys         = family{"helixflow_keyring_keys", "gauge", "API keys in force, revoked and expired ones included."}
	issuerKeys          = family{"helixflow_issuer_keys", "gauge", "Keys of an issuer of tokens that are here, of those that are fetched."}
	issuerLastFetch     = family{"helixflow_issuer_keys_last_fetch_timestamp_seconds", "gauge", "When they were fetched last. They are believed for a day; alert after an hour."}
	issuerFetches       = family{"helixflow_issuer_key_fetches_total", "counter", "Fetches of an issuer's keys, by whether they brought any (done) or the old ones stay (failed)."}
	redisOperations     = family{"helixflow_redis_operations_total", "counter", "Operations that Redis was asked for."}
	redisErrors         = family{"helixflow_redis_errors_total", "counter", "Operations that failed, by what went wrong; skipped ones were not tried since the breaker was open."}
	redisBreaker        = family{"helixflow_redis_breaker_state", "gauge", "1 for the state of the breaker towards Redis, 0 for the others; open asks nothing."}
	redisBreakerOpened  = family{"helixflow_redis_breaker_opened_total", "counter", "Times the breaker opened."}
	sharedReplicas      = family{"helixflow_shared_limits_replicas", "gauge", "Routers that share limits, this one included, as far as it knows."}
	sharedLeases        = family{"helixflow_shared_limits_leases", "gauge", "Limits of which this router holds a lease; alone: Redis did not answer for it, and a share of the limit counts."}
	discoveryFound      = family{"helixflow_discovery_backends", "gauge", "Backends that a pool has found, by DNS or in a file."}
	discoveryLastGood   = family{"helixflow_discovery_last_good_timestamp_seconds", "gauge", "When it last got an answer that was good, or a file that was new; what it found then stays in use."}
	discoveryFailures   = family{"helixflow_discovery_failures_total", "counter", "Answers and files that were empty, wrong or did not come."}
	panics              = family{"helixflow_panics_total", "counter", "Panics that were caught."}
)

// text collects Prometheus' text exposition format, version 0.0.4.
type text struct{ b []byte }

// family begins a family; its samples follow.
func (t *text) family(f family) {
	t.b = append(t.b, "# HELP "+f.name+" "+f.help+"\n# TYPE "+f.name+" "+f.kind+"\n"...)
}

// sample writes one value; labels are names and values in turn.
func (t *text) sample(name string, value uint64, labels ...string) {
	t.series(name, labels)
	t.b = append(strconv.AppendUint(t.b, value, 10), '\n')
}

// sampleFloat is sample for what is not a whole number.
func (t *text) sampleFloat(name string, value float64, labels ...string) {
	t.series(name, labels)
	t.b = append(strconv.AppendFloat(t.b, value, 'g', -1, 64), '\n')
}

// series writes a name with its labels, and the space before the value.
func (t *text) series(name string, labels []string) {
	t.b = append(t.b, name...)
	for i := 0; i+1 < len(labels); i += 2 {
		if i == 0 {
			t.b = append(t.b, '{')
		} else {
			t.b = append(t.b, ',')
		}
		t.b = append(append(t.b, labels[i]...), '=', '"')
		t.escape(labels[i+1])
		t.b = append(t.b, '"')
	}
	if len(labels) > 0 {
		t.b = append(t.b, '}')
	}
	t.b = append(t.b, ' ')
}

// escape writes a label's value as the format wants it: UTF-8, with backslash,
// quote and newline escaped. Broken UTF-8 becomes U+FFFD, or Prometheus would
// throw the whole scrape away.
func (t *text) escape(value string) {
	for _, r := range value {
		switch r {
		case '\\':
			t.b = append(t.b, `\\`...)
		case '"':
			t.b = append(t.b, `\"`...)
		case '\n':
			t.b = append(t.b, `\n`...)
		default:
			t.b = append(t.b, string(r)...)
		}
	}
}
