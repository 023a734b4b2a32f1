# Listener, sender, console and commands: no TensorFlow, no decoders.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/ecg-node
COPY requirements/base.txt requirements/base.txt
RUN /opt/ecg-node/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/base.txt
COPY . .
RUN /opt/ecg-node/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.11-slim-bookworm
COPY --from=build /opt/ecg-node /opt/ecg-node
# A new volume takes the owner and mode of the folder that it covers
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/ecg-node
ENV PATH=/opt/ecg-node/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
WORKDIR /var/lib/ecg-node
ENTRYPOINT ["ecg-node"]
