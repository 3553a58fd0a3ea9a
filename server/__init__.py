"""The HTTP server: OpenAI's routes and our own over one dispatcher, for one machine, for any host,
and as a worker behind Runpod's load balancer.

    app         the application and its routes
    answer      one job's outputs as an HTTP response; hanging up ends the work
    entrance    who may come in: keys, rate, not while the server ends
    guard       on loopback: only this machine's own pages and programs
    body        what a request brings, within limits of size and time
    errors      failures as statuses and in OpenAI's shape
    account     a request's id, its line in the log, its metrics
    life        warming up, ready, ending
    protocol    HTTP/1.1 whose requests have to begin
    serve       sockets, signals, uvicorn
"""
