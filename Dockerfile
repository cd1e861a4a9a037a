# A static binary in an empty image, as a user without rights.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /forebay ./cmd/forebay

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /forebay /forebay
USER 65532:65532
EXPOSE 8080
# Inside a container loopback reaches nobody, so the public listener takes all addresses; the admin
# listener stays on loopback, where the health check finds it.
ENV FOREBAY_LISTEN=0.0.0.0:8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/forebay", "ready"]
ENTRYPOINT ["/forebay"]
CMD ["run", "-c", "/etc/forebay/forebay.yaml"]
