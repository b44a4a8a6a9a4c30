"""The store on Redis or Valkey, which many processes on many machines may share."""
