ARG PYTHON_VERSION=@PYTHON_VERSION@

FROM python:${PYTHON_VERSION}-slim AS build
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /src
@if REQUIREMENTS
# First the packages alone: a change of the source does not download them again.
COPY requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt
@end
@if PROJECT
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip pip install .
@end

FROM python:${PYTHON_VERSION}-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /venv /venv
WORKDIR /app
@if SOURCE
COPY . .
@end
# The version that git gives; the program has it in this variable.
ARG VERSION=0.0.0
ENV APP_VERSION=$VERSION
USER 65532:65532
@if PORT
EXPOSE @PORT@
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \
    CMD @HEALTH@
@end
ENTRYPOINT @COMMAND@
