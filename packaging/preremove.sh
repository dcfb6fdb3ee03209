#!/bin/sh
# Deb calls with "remove" or "upgrade", rpm with the number of versions that stay.
set -e
case $1 in
  remove | 0)
    if [ -d /run/systemd/system ]; then
      systemctl disable --now instard.service
      echo "instar: instances and drivers are left running; their state is in /var/lib/instar" >&2
    fi
    ;;
esac
