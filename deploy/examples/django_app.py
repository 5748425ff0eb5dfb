"""Deedbox's receiver inside a Django project, to copy: here the whole project is one file.

    DEEDBOX_API_KEYS=... DEEDBOX_REDIS_URL=redis://localhost:6379 gunicorn --chdir deploy/examples django_app:app

The callback URL is then https://<host>/hooks/callbacks. Run `deedbox bridge`, `worker` and `sweeper` beside it.
"""

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

import deedbox.django

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
)
django.setup()

receive = deedbox.django.view()


def home(_request: HttpRequest) -> HttpResponse:
    """Serve a page of the project's own."""
    return HttpResponse("home")


urlpatterns = [
    path("", home),
    path("hooks/callbacks", receive),
    path("hooks/callbacks/<str:source>", receive),
]
app = get_wsgi_application()
