# The monitor in a container. Build: docker build -t claudetm . (docs/monitor.md says how it is run)
FROM python:3.12-slim-bookworm AS build
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY src /src/src
RUN python -m venv /opt/claudetm \
    && /opt/claudetm/bin/pip install --no-cache-dir -c /src/constraints.txt '/src[monitor]'

FROM python:3.12-slim-bookworm
ARG UID=1000
# git does the work, bubblewrap keeps agents apart where the host allows it, tini passes signals and reaps.
# What your checks need (a compiler, node, …) belongs here too: build on this image.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git bubblewrap openssh-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --non-unique --uid "$UID" --user-group claudetm \
    && install -d -o claudetm -g claudetm /work /home/claudetm/.claude /home/claudetm/.local/state
COPY --from=build /opt/claudetm /opt/claudetm
ENV PATH=/opt/claudetm/bin:/usr/local/bin:/usr/bin:/bin CLAUDE_CONFIG_DIR=/home/claudetm/.claude
USER claudetm
WORKDIR /work
VOLUME ["/home/claudetm/.claude", "/home/claudetm/.local/state"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "claudetm"]
CMD ["monitor"]
