"""What a browser does with a page: follow its links, and send its forms as they were filled in."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Form:
    """One form: fields that are always sent, boxes and buttons that a person chooses."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)
    """Text, name, value."""

    def sent(self, button: str, ticked: int = 0) -> list[tuple[str, str]]:
        """Return what a browser sends after the first boxes were ticked and a button was pressed."""
        pressed = [(name, value) for label, name, value in self.buttons if label.startswith(button) and name]
        assert any(label.startswith(button) for label, _, _ in self.buttons), self.buttons
        return [*self.fields, *self.boxes[:ticked], *pressed]


class Page(HTMLParser):
    """The forms and links of a page, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.words: list[str] = []
        self._open: list[str] = []
        """Words of the link or button that is being read."""
        self._href = ""
        self._button: tuple[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what can be followed, filled in or pressed."""
        given = {name: value or "" for name, value in attrs}
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "form":
            self.forms.append(Form(given["action"]))
        elif tag == "input" and self.forms and name:
            kind = self.forms[-1].boxes if given.get("type") == "checkbox" else self.forms[-1].fields
            kind.append((name, value))
        elif tag == "a":
            self._href, self._open = given.get("href", ""), []
        elif tag == "button":
            self._button, self._open = (name, value), []

    def handle_endtag(self, tag: str) -> None:
        """Note the words of a link or a button."""
        label = " ".join("".join(self._open).split())
        if tag == "a":
            self.links[label] = self._href
        elif tag == "button" and self._button is not None and self.forms:
            self.forms[-1].buttons.append((label, *self._button))
            self._button = None

    def handle_data(self, data: str) -> None:
        """Collect words."""
        self._open.append(data)
        self.words.append(data)

    def form(self, button: str) -> Form:
        """Return the form that has such a button."""
        return next(
            form for form in self.forms if any(label.startswith(button) for label, _, _ in form.buttons)
        )

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(" ".join(self.words).split())
