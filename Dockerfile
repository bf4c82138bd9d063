# A run as a service on a CPU:
#   docker build -t semi-serve .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/runs/demo:/run-to-serve:ro" semi-serve
# With a token: -e SEMI_SERVE_TOKEN=... ; encoders from the hub: mount their folders and train on
# them, or let the container reach the hub (-e HF_HUB_OFFLINE=0).
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HUB_OFFLINE=1

RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 libsndfile1 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/semi

# torch without CUDA first: a fifth of the size, and a layer that changes of semi do not rebuild
RUN pip install "torch>=2.6,<2.14" --index-url https://download.pytorch.org/whl/cpu

COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY models models
COPY noise noise
COPY pseudo_label pseudo_label
COPY semi semi
COPY configs configs
COPY examples/emodb examples/emodb
RUN pip install ".[serve]"

RUN useradd --create-home --uid 10001 serving
USER serving
WORKDIR /home/serving

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]

# 0.0.0.0 within the container; who reaches it is what -p of docker run says
ENTRYPOINT ["semi", "serve"]
CMD ["/run-to-serve", "--host", "0.0.0.0", "--port", "8000"]
