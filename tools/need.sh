#!/bin/sh
# Makes sure that the programs named are here, installing what is missing by the system's package manager
# and saying so. Usage: tools/need.sh postgres redis curl
#
# A package must not leave a server running that nobody asked for: services are kept from starting while
# packages are being installed, no default Postgres cluster is made, and none that exists is touched.
set -eu

say() { printf 'need: %s\n' "$*" >&2; }

have() {
	case $1 in
	postgres) command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
		/opt/homebrew/opt/postgresql@*/bin/initdb /usr/local/opt/postgresql@*/bin/initdb \
		/Applications/Postgres.app/Contents/Versions/*/bin/initdb 2>/dev/null | grep -q . ;;
	redis) command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1 ;;
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}

missing=
for program in "$@"; do
	have "$program" || missing="$missing $program"
done
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo

install_apt() {
	packages=
	for program in $missing; do
		case $program in
		postgres) packages="$packages postgresql" ;;
		redis) packages="$packages redis-server" ;;
		*) packages="$packages $program" ;;
		esac
	done
	say "installing with apt-get:$packages"
	policy=/usr/sbin/policy-rc.d
	clusters=/etc/postgresql-common/createcluster.conf
	made_policy=no
	made_clusters=no
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
		$sudo chmod 755 $policy
		made_policy=yes
	fi
	if [ ! -e $clusters ]; then
		$sudo mkdir -p "$(dirname $clusters)"
		printf 'create_main_cluster = false\n' | $sudo tee $clusters >/dev/null
		made_clusters=yes
	fi
	trap '[ $made_policy = no ] || $sudo rm -f $policy; [ $made_clusters = no ] || $sudo rm -f $clusters' EXIT INT TERM
	$sudo apt-get update -qq
	# shellcheck disable=SC2086
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Options::=--force-confold $packages >&2
	case $missing in *redis*)
		# Installed just now, by us: not to be started at the next boot either.
		if command -v systemctl >/dev/null 2>&1; then $sudo systemctl disable redis-server >/dev/null 2>&1 || true; fi ;;
	esac
}

install_brew() {
	packages=
	for program in $missing; do
		case $program in
		postgres) packages="$packages postgresql@17" ;;
		*) packages="$packages $program" ;;
		esac
	done
	say "installing with brew:$packages"
	# shellcheck disable=SC2086
	brew install $packages >&2
}

if command -v apt-get >/dev/null 2>&1; then
	install_apt
elif command -v brew >/dev/null 2>&1; then
	install_brew
else
	say "cannot install$missing: found neither apt-get nor brew; install them by hand and try again"
	exit 1
fi

for program in $missing; do
	have "$program" || { say "$program is still missing after the installation"; exit 1; }
done
