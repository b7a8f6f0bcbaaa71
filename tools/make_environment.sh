#!/bin/sh
# Makes .venv with exactly what requirements.lock names, checked by hash. `make .venv/ready` runs it, once for each change of the lock.
# Needs python3 >= 3.11 with its venv module; PYTHON names another interpreter than python3.
set -eu
python="${PYTHON:-python3}"

stop() {
    echo "$1" >&2
    exit 1
}

command -v "$python" >/dev/null || stop "$python is not there; install Python 3.11 or newer, or name one: make PYTHON=python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$("$python" -V) is too old; install Python 3.11 or newer, or name one: make PYTHON=python3.12"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    stop "the venv module of $("$python" -V) is not there; install it (Debian and Ubuntu: apt install python3-venv) and run again"

if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv
fi

# uv installs the rest in a fifth of pip's time; pip installs uv itself, by the lock's own lines for it.
awk '/^[a-z]/ { wanted = /^uv==/ } wanted' requirements.lock >.venv/uv.lock
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/uv.lock

# uv does not read pip's settings: who has set pip an index or a certificate file has it for uv too.
index="${UV_DEFAULT_INDEX:-$(.venv/bin/python -m pip config list 2>/dev/null | sed -n "s/^\(:env:\|global\|user\|site\)\.index-url='\(.*\)'\$/\2/p" | tail -1)}"
certificates="${SSL_CERT_FILE:-$(.venv/bin/python -m pip config list 2>/dev/null | sed -n "s/^\(:env:\|global\|user\|site\)\.cert='\(.*\)'\$/\2/p" | tail -1)}"
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
[ -z "$certificates" ] || export SSL_CERT_FILE="$certificates"

export VIRTUAL_ENV="$PWD/.venv"
.venv/bin/uv pip sync --quiet --require-hashes requirements.lock
.venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
touch .venv/ready
