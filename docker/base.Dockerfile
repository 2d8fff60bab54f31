# The base of every image: the C library, Node, CA certificates and time zones. No shell, no package manager, nothing
# that must be writable. It takes no build context:
#
#   docker build --tag outrider/base:latest - < docker/base.Dockerfile

ARG DEBIAN_IMAGE=debian:bookworm-slim
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS node

FROM ${DEBIAN_IMAGE} AS rootfs
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
WORKDIR /packages
# Unpacked, not installed: install scripts want a shell, and so do the programs that they install. Two packages have
# their licence in a third one, gcc-<version>-base.
RUN chown _apt . \
  && apt-get download base-files netbase libc6 libgcc-s1 libstdc++6 tzdata ca-certificates \
  && mkdir --parents /rootfs/app /rootfs/usr/share/doc \
  && for package in *.deb; do dpkg-deb --extract "$package" /rootfs; done \
  && cp --recursive /usr/share/doc/gcc-*-base /rootfs/usr/share/doc/
# What the install scripts would have made: the bundle of certificates, the users, the order of name look-ups.
RUN cd /rootfs/etc \
  && cat ../usr/share/ca-certificates/mozilla/*.crt > ssl/certs/ca-certificates.crt \
  && echo 'root:x:0:0:root:/:/sbin/nologin' > passwd \
  && echo 'nonroot:x:65532:65532:nonroot:/nonexistent:/sbin/nologin' >> passwd \
  && echo 'root:x:0:' > group \
  && echo 'nonroot:x:65532:' >> group \
  && echo 'hosts: files dns' > nsswitch.conf
# Left out: programs, which would need a shell; converters between character sets, of which Node has its own; time zones
# counted with leap seconds; helpers of debuggers; documentation, but not the licences. /bin is /usr/bin, as in an
# installed Debian, so that an image with programs has each of them at both paths.
RUN cd /rootfs \
  && rm -rf bin sbin usr/bin/* usr/sbin/* etc/update-motd.d usr/lib/*/gconv usr/share/zoneinfo/right \
    usr/share/zoneinfo/posix usr/share/base-files usr/share/ca-certificates usr/share/gcc usr/share/gdb \
    usr/share/lintian usr/share/locale usr/share/man usr/share/doc/*/examples \
  && find usr/share/doc -type f ! -name copyright -delete \
  && ln -s usr/bin bin \
  && ln -s usr/sbin sbin
# In /usr/bin, where a distribution has its programs: on every PATH, and the same path in each ENTRYPOINT.
COPY --from=node /usr/local/bin/node /rootfs/usr/bin/node
COPY --from=node /usr/local/LICENSE /rootfs/usr/share/doc/node/copyright
# A seventh of the program is symbols, which stack traces of JavaScript do not need.
RUN strip /rootfs/usr/bin/node && /rootfs/usr/bin/node --version

FROM scratch
COPY --from=rootfs /rootfs/ /
# Express and others show internals in their error pages unless told that this is production.
ENV NODE_ENV=production
# The C library gives each thread a heap of its own, and Node has ten that hardly use theirs: three megabytes less.
ENV MALLOC_ARENA_MAX=2
WORKDIR /app
USER 65532:65532
ENTRYPOINT ["/usr/bin/node"]
ARG NODE_VERSION=unknown
LABEL org.opencontainers.image.title="outrider/base" \
      org.opencontainers.image.description="The C library, Node, CA certificates and time zones, and nothing else" \
      org.opencontainers.image.licenses="MIT AND LGPL-2.1-or-later AND GPL-3.0-or-later WITH GCC-exception-3.1 AND MPL-2.0" \
      io.outrider.node.version="${NODE_VERSION}"
