#!/bin/sh
# Trains the guide again (Debian: python3-torch python3-numpy libopenblas0-pthread). Needed neither to run nor to test Kwyre.
# The allocator keeps its pages: fresh ones cost more than the arithmetic.
set -eu
cd "$(dirname "$0")"
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONHASHSEED=0 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=500000000 \
  exec /usr/bin/python3 train.py "$@"
