//! The texts of `--help`.
//!
//! Separate from the parser, because this is text only. The man pages and the shell completion are generated from it.
//!
//! **Invariant:** names every option that is accepted, and no other.

pub(super) const USAGE: &str = "\
Pulls a Docker image and reports, layer by layer, how far it is.

Usage: docker-pull-with-progress [OPTIONS] IMAGE
       docker-pull-with-progress --check IMAGE         is the local image what the registry has? pulls nothing
       docker-pull-with-progress --running NAME IMAGE  does container NAME run the local IMAGE?
       docker-pull-with-progress --replay FILE         play a recorded stream (- is stdin) as if it were a pull
       docker-pull-with-progress --view [OPTIONS]      show the log; the same as alm-pull, and as alm pull
       docker-pull-with-progress --status [OPTIONS]    how things stand; the same as alm-status, and as alm status

Options:
  --progress MODE          auto, plain (the log lines), tty (live bars), json or quiet [auto: tty on a terminal, else plain]
  -q, --quiet              only the image's full reference, at the end
  --log FILE               where the log goes [/var/log/alm/docker-pull.log; a replay writes none by default]
  --no-log                 write no log
  --no-raw                 leave the engine's own lines out of the log
  --ascii                  pure ASCII on stdout and stderr, as where the locale is not UTF-8
  --color WHEN             auto, always or never [auto]
  --platform OS/ARCH[/VARIANT]
                           pull for another platform than the engine's
  --record FILE            keep the whole stream with its timing; FILE is overwritten
  --speed N                replay at N times the recorded speed [as fast as possible]
  --token-file FILE        the registry password is in this file [docker's own credentials]
  --token-user NAME        the user that goes with it [oauth2accesstoken; _json_key for a service account's key]
  --retries N              tries after a failure that may pass [3]
  --stall-timeout SECONDS  give up if nothing moves for this long; 0: never [600]
  --state DIR              keep the state there [/run/alm/pull and /var/lib/alm/pull; a replay keeps none by default]
  --metrics FILE           keep a Prometheus text file there, of all images [none]
  --sizes WHEN             ask the registry how large the layers are: auto (not Docker Hub), always or never [auto]
  --host ADDRESS           the engine: unix://PATH, or what only docker's CLI can reach [as docker finds it]
  -h, --help               this text
  -V, --version            the version

Exit codes: 0 pulled or up to date; 1 failed; 2 wrong usage; 128+n ended by signal n; without the engine's socket docker's.
  --check: 0 current, 1 newer or missing here, 3 cannot tell.  --running: 0 yes, 1 no, 3 cannot tell.
";

pub(super) const VIEW_USAGE: &str = "\
Shows the progress of Docker image pulls, from the log that docker-pull-with-progress writes.

Usage: alm pull [OPTIONS]   (or alm-pull, or docker-pull-with-progress --view)

Options:
  -f, --follow     go on showing lines as they come; Ctrl-C ends it
  -n, --lines NUM  how many of the last lines to show; 0 shows none [50]
  --raw            the engine's own lines too
  --log FILE       the log [/var/log/alm/docker-pull.log]
  --color WHEN     auto, always or never [auto]
  --ascii          pure ASCII, as where the locale is not UTF-8
  -h, --help       this text
  -V, --version    the version
";

pub(super) const STATUS_USAGE: &str = "\
Shows how the images of this device stand: what is being pulled and how long still, what failed and what to do.

Usage: alm status [OPTIONS] [IMAGE]   (or alm-status, or docker-pull-with-progress --status)

Options:
  -f, --follow     keep it on the screen; Ctrl-C ends it
  --json           the states as one JSON array
  --monitor [TTY]  keep it on a console, full screen, for who stands before the device [/dev/tty1]
  --site NAME      where the device stands, for the monitor
  --forget         remove what is known of IMAGE
  --state DIR      where the states are [/run/alm/pull and /var/lib/alm/pull]
  --ascii          pure ASCII, as where the locale is not UTF-8
  -h, --help       this text
  -V, --version    the version

Exit codes: 0 all well; 1 something failed, was rolled back or was lost; 2 wrong usage; 3 nothing is known.
";

pub(super) const ALM_USAGE: &str = "\
Usage: alm pull [OPTIONS]    shows the progress of Docker image pulls (more: alm pull --help)
       alm status [OPTIONS]  shows how the images of this device stand (more: alm status --help)
       alm help              shows this text
       alm --version         shows the version
";
