"""A cursor over a statement's tokens, for the grammar that sqlglot does not know."""

from __future__ import annotations

from sqlglot.tokens import Token, TokenType

from embedded.dremio.errors import ParseError
from embedded.dremio.sql.dialect import WordDialect, tokenize


class Words:
    """Reads a statement's tokens one after the other; every refusal names the place."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens = tokenize(sql, WordDialect)
        self.at = 0

    def peek(self, offset: int = 0) -> Token | None:
        """The token `offset` places ahead, or None at the end."""
        place = self.at + offset
        return self.tokens[place] if place < len(self.tokens) else None

    def word(self, offset: int = 0) -> str:
        """The token as a keyword in upper case; empty for texts, quoted names and the end."""
        token = self.peek(offset)
        if token is None or token.token_type in (TokenType.STRING, TokenType.IDENTIFIER):
            return ""
        return token.text.upper()

    def accept(self, *words: str) -> bool:
        """Step over these keywords if they come next."""
        for offset, word in enumerate(words):
            if self.word(offset) != word:
                return False
        self.at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Step over these keywords; raises ParseError if others come."""
        if not self.accept(*words):
            raise self.error(f"expected {' '.join(words)}")

    def error(self, why: str) -> ParseError:
        """The ParseError for the present place."""
        token = self.peek()
        found = f"'{token.text}'" if token is not None else "the end of the statement"
        return ParseError(
            f"Failure parsing the query: encountered {found}, {why}.",
            sql=self.sql,
            line=token.line if token else None,
            column=token.col if token else None,
        )

    def done(self) -> bool:
        """True at the end."""
        return self.at >= len(self.tokens)

    def end(self) -> None:
        """Raise ParseError unless at the end."""
        if not self.done():
            raise self.error("expected the end of the statement")

    def name(self) -> str:
        """One identifier."""
        token = self.peek()
        if token is None or token.token_type in (TokenType.STRING, TokenType.NUMBER):
            raise self.error("expected a name")
        if token.token_type == TokenType.PARAMETER:  # @home
            self.at += 1
            return f"@{self.name()}"
        if token.token_type != TokenType.IDENTIFIER and not (token.text[:1].isalpha() or token.text[:1] in "_$"):
            raise self.error("expected a name")
        self.at += 1
        return token.text

    def path(self) -> tuple[str, ...]:
        """A dotted name."""
        parts = [self.name()]
        while self.word() == "." and self.peek() is not None:
            self.at += 1
            parts.append(self.name())
        return tuple(parts)

    def text(self) -> str:
        """A string literal."""
        token = self.peek()
        if token is None or token.token_type != TokenType.STRING:
            raise self.error("expected a text in quotes")
        self.at += 1
        return token.text

    def number(self) -> int:
        """A whole number."""
        token = self.peek()
        if token is None or token.token_type != TokenType.NUMBER or not token.text.isdigit():
            raise self.error("expected a number")
        self.at += 1
        return int(token.text)

    def names(self) -> list[str]:
        """``(a, b, c)``."""
        self.expect("(")
        names = [self.name()]
        while self.accept(","):
            names.append(self.name())
        self.expect(")")
        return names

    def rest(self) -> str:
        """The text of everything that follows."""
        token = self.peek()
        if token is None:
            raise self.error("expected a query")
        self.at = len(self.tokens)
        return self.sql[token.start : self.tokens[-1].end + 1]

    def until(self, *stops: str) -> str:
        """The text up to one of these keywords outside of parentheses (or the end, or a closing parenthesis)."""
        start = self.peek()
        depth = 0
        last = None
        while (token := self.peek()) is not None:
            word = self.word()
            if depth == 0 and (word in stops or word == ")"):
                break
            depth += {"(": 1, ")": -1}.get(word, 0)
            depth += {"<": 1, ">": -1}.get(word, 0) if "<" not in stops else 0
            last = token
            self.at += 1
        if start is None or last is None:
            raise self.error("expected an expression")
        return self.sql[start.start : last.end + 1]
