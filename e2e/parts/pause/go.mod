module longshore.dev/longshore/e2e/parts/pause

go 1.26.0
