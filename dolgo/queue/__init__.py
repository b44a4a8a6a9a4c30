"""Brokers that ring the bell: RabbitMQ and NSQ tell workers of tasks, and the store stays the truth."""
