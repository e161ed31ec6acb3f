"""This library beside its peers, the same workload on each, in turns.

python -m benchmarks.peers [--only import|posix|s3] [--quick] [--save FOLDER] [--markdown FILE]
"""
