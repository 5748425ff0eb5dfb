"""The status API: what applications and autoscalers ask, as JSON, described by OpenAPI."""
