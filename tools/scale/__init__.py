"""``make scale``: one model on an existing distributed engine, two hosts, and what gets lost.

The engine is Ray Serve (https://docs.ray.io/en/latest/serve/). Its processes listen at every
address, whatever HTTP host they are given. So the two hosts are Linux namespaces: each has its own
network with its own loopback, its own process ids and its own end of one virtual cable, and no way
out. When the first process of a host ends, the kernel ends all others of it.

Two environments take part, in separate processes. ``.venv`` has TensorFlow and writes the model
files; ``.venv-scale`` has Ray and ONNX Runtime and serves them.

======================  ==============================================================
module                  its job
======================  ==============================================================
`tools.scale.__main__`  the command line: look for what is missing, run, tell the verdict
`demands`               what the machine must have; one line for what is missing
`namespaces`            a host: a process tree with its own network
`supervisor`            start the story in the first host, bound its life, look for leftovers
`story`                 what happens, in order; it runs inside the first host
`model_files`           train, export and convert the model of lesson 2, in two versions
`cluster`               start and end Ray on the hosts, deploy, ask for its state
`app`                   the model as a Ray Serve application, with lesson 2's contract
`contract`              lesson 2's own requests, right and wrong, answered as there
`load`                  clients that ask without a pause, with and without retry
`scoring`               the test set many times through Dask, with a worker killed
`watch`                 the memory and the networks of all processes, during the run
`report`                from what the clients noted to the table and the figure
`verdict`               which promises hold
`manifests`             both files of ``deploy/`` against the schemas of Ray Serve and KServe
======================  ==============================================================

The result, a `helpers.serving.FaultReport`, and its figure live in the package, because lesson 2
shows them.
"""
