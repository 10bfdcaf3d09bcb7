ARG NODE_VERSION=@NODE_VERSION@

# First the modules alone: a change of the source does not download them again.
FROM node:${NODE_VERSION}-slim AS modules
WORKDIR /app
COPY @PACKAGES@ ./
RUN --mount=type=cache,target=/root/.npm npm @INSTALL@ --omit=dev

@if BUILD
FROM node:${NODE_VERSION}-slim AS build
WORKDIR /app
COPY @PACKAGES@ ./
RUN --mount=type=cache,target=/root/.npm npm @INSTALL@
COPY . .
RUN npm run build && rm -rf node_modules

@end
FROM node:${NODE_VERSION}-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=modules /app ./
@if BUILD
COPY --from=build /app ./
@end
@if !BUILD
COPY . .
@end
# The version that git gives; the program has it in this variable.
ARG VERSION=0.0.0
ENV APP_VERSION=$VERSION
USER 1000:1000
@if PORT
EXPOSE @PORT@
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \
    CMD @HEALTH@
@end
ENTRYPOINT @COMMAND@
