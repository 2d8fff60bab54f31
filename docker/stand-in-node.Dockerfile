# Stands in for the official Node image where no registry can be reached: the same tag, the same place for the program,
# the same variable for its version. The context is the npm package that carries the Node of this repository.
ARG DEBIAN_IMAGE=debian:bookworm-slim
FROM ${DEBIAN_IMAGE}
ARG NODE_VERSION
ENV NODE_VERSION=${NODE_VERSION}
COPY LICENSE /usr/local/
COPY bin/node /usr/local/bin/
RUN test "$(node --version)" = "v${NODE_VERSION}"
LABEL io.outrider.stand-in=true
CMD ["node"]
