# The worker: TensorFlow, decoders and weights. REQUIREMENTS=gpu brings CUDA's libraries with it.
FROM python:3.11-slim-bookworm AS build
ARG REQUIREMENTS=cpu
WORKDIR /src
RUN python -m venv /opt/ecg-node
COPY requirements/ requirements/
RUN /opt/ecg-node/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
    -r requirements/${REQUIREMENTS}.txt
COPY . .
RUN /opt/ecg-node/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.11-slim-bookworm
COPY --from=build /opt/ecg-node /opt/ecg-node
# A new volume takes the owner and mode of the folder that it covers
RUN install -d -m 0700 -o 10001 -g 10001 /var/lib/ecg-node
ENV PATH=/opt/ecg-node/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp KERAS_HOME=/tmp/keras
USER 10001:10001
WORKDIR /var/lib/ecg-node
ENTRYPOINT ["ecg-node"]
CMD ["work"]
