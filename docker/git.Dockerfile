# The base of images whose container runs git: the common base, and git over HTTPS and SSH, what verifies signatures, a
# shell with the tools that scripts of hooks call, and an init that reaps what they leave behind. No build context:
#
#   docker build --tag outrider/git:latest - < docker/git.Dockerfile

ARG BASE_IMAGE=outrider/base:latest
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS base

FROM ${DEBIAN_IMAGE} AS rootfs
ENV packages="bash busybox gettext-base git gpg libnss-unknown openssh-client socat tini"
RUN apt-get update && apt-get install --yes --no-install-recommends $packages
WORKDIR /rootfs
# Bash is sh as well: many scripts of hooks are written for it, whatever their first line says. socat takes SSH through a
# proxy.
RUN set -e; mkdir --parents usr/bin; ln -s bash usr/bin/sh; \
  for program in bash busybox git gpg socat ssh ssh-keygen tini; do cp "$(command -v "$program")" usr/bin/; done
# Without tools for consoles, mounts, packages and daemons; and for the network: this wget verifies no certificate.
RUN set -e; for tool in [ awk base64 basename bunzip2 bzcat bzip2 cat chgrp chmod chown cmp cp cpio cut date dd df diff \
    dirname dos2unix du echo egrep env expand expr false fgrep find fold getopt grep groups gunzip gzip head hexdump \
    hostname id kill link ln logname ls lzcat md5sum mkdir mkfifo mktemp mv nl nproc od paste patch pidof printf ps pwd \
    readlink realpath renice rev rm rmdir sed seq setsid sha1sum sha256sum sha512sum shuf sleep sort stat strings stty \
    sync tac tail tar tee test time timeout touch tr true truncate tty uname unexpand uniq unix2dos unlink unlzma unxz \
    unzip wc which whoami xargs xxd xz xzcat yes zcat; \
  do busybox --list | grep --quiet --line-regexp --fixed-strings "$tool"; ln -s busybox "usr/bin/$tool"; done
# Without what is for servers, mail, people at a terminal and other systems of version control. Its scripts take the
# messages of gettext where they find it, in place of a program of git that is thirty times as large.
RUN set -e; mkdir --parents usr/lib/git-core; cd usr/lib/git-core; \
  find /usr/lib/git-core -lname git -exec cp --no-dereference --target-directory=. {} +; \
  for part in remote-http remote-https sh-i18n sh-setup submodule; do \
    cp --no-dereference "/usr/lib/git-core/git-$part" .; done; \
  ln -s ../../bin/git git; \
  cp /usr/bin/gettext /usr/bin/gettext.sh /usr/bin/envsubst /rootfs/usr/bin/
# New repositories have no hooks, not even samples.
RUN mkdir --parents usr/share/git-core \
  && cp --recursive /usr/share/git-core/templates usr/share/git-core/ \
  && rm -r usr/share/git-core/templates/hooks
# SSH insists that its user has a name. Here each has one, whatever number a pod gives it, and $HOME for a home: no file
# need be writable to write a name into.
COPY --from=base /etc/passwd /etc/group /etc/nsswitch.conf etc/
RUN sed -i 's|^nonroot:.*|git-sync:x:65532:65532:git-sync:/tmp:/bin/sh|' etc/passwd \
  && sed -i 's|^nonroot:|git-sync:|' etc/group \
  && echo 'passwd: files unknown' >> etc/nsswitch.conf
# The libraries that the base does not have, and the licences of all.
COPY --from=base /lib/ /base/lib/
COPY --from=base /usr/lib/ /base/lib/
RUN set -e; \
  for library in $(ldd usr/bin/* usr/lib/git-core/* 2>/dev/null | awk '$2 == "=>" { print $3 }') /lib/*/libnss_unknown.so.2; \
    do [ -e "/base$library" ] || install -D --mode=644 "$library" "usr$library"; done; \
  libraries=$(basename --multiple usr/lib/*-linux-gnu/* | sed 's|^|*/|'); \
  for package in $packages $(dpkg --search $libraries | cut --delimiter=: --fields=1); \
    do install -D --mode=644 "/usr/share/doc/$package/copyright" "usr/share/doc/$package/copyright"; done
# Writable for the group, which new files are of: any user can be in it, such as by fsGroup.
RUN mkdir --parents --mode=2775 /shared/git

FROM ${BASE_IMAGE}
COPY --from=rootfs /rootfs/ /
COPY --from=rootfs --chown=65532:65532 /shared/ /
# Also for a user of another number, whose home would be /.
ENV HOME=/tmp
# Tini reaps also where it is not process 1, as in a pod whose containers share their processes.
ENTRYPOINT ["/usr/bin/tini", "-s", "--"]
LABEL org.opencontainers.image.title="outrider/git" \
      org.opencontainers.image.description="The common base with git, SSH, GnuPG, a shell with small tools, and an init" \
      org.opencontainers.image.licenses="MIT AND GPL-2.0-only AND GPL-3.0-or-later AND LGPL-2.1-or-later AND LGPL-3.0-or-later AND Apache-2.0 AND BSD-3-Clause AND OLDAP-2.8 AND MPL-2.0"
