"""This library beside its peers, the same workload on each, in turns.

python -m benchmarks.peers [--only posix|s3|import] [--quick]
"""
