# For those who have Docker; `make image` builds the same without it.
#
#   docker build --build-arg VERSION=v0.1.0 -t registry.example.com/longshore:v0.1.0 .
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26 AS build
ARG TARGETOS TARGETARCH VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Time zones are in the program, because there is nothing else in the image.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -tags timetzdata -ldflags "-s -w -X main.version=$VERSION" -o /longshore ./cmd/longshore

FROM scratch
COPY --from=build /longshore /longshore
USER 65532:65532
ENTRYPOINT ["/longshore"]
