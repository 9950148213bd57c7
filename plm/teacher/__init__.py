"""Data that a teacher model makes, behind any endpoint that speaks OpenAI's protocol."""

from plm.teacher.client import Client
from plm.teacher.replies import Choice, Reply, Request, chat_request, embedding_request
from plm.teacher.store import Store

__all__ = ["Choice", "Client", "Reply", "Request", "Store", "chat_request", "embedding_request"]
