"""Callbacks: receivers are told how tasks ended, by signed requests that are tasks themselves."""
