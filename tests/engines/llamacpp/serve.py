"""llama.cpp's server, as `llama-server` starts it with these flags:

    llama-server -m MODEL --host HOST --port PORT --alias tiny --ctx-size 65536 --parallel 2 \\
      --metrics --slots --embeddings --pooling mean

It ends on SIGTERM.
"""

import signal
import sys

import xllamacpp as llama

model, host, port = sys.argv[1:]

params = llama.CommonParams()
params.model.path = model
params.model_alias = {"tiny"}
params.hostnames = [host]
params.port = int(port)
params.n_ctx = 65536
params.n_parallel = 2
params.cpuparams.n_threads = 1
params.endpoint_metrics = True
params.endpoint_slots = True
params.embedding = True
params.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
server = llama.Server(params)
signal.sigwait({signal.SIGTERM})
