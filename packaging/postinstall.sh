#!/bin/sh
# The daemon is not started by an installation; an upgrade restarts it if it runs, which touches neither
# drivers nor instances.
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart instard.service
fi
