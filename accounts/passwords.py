"""What a password may not be, beyond Django's own rules: the product's name and little else."""

from django.core.exceptions import ValidationError

from accounts.models import User

# Words that a guesser tries first on this site.
WORDS = ("aktivat", "analytics", "statistics", "password", "account", "tracking", "admin", "login")
ENOUGH = 6  # characters that must be left without them


class ContextValidator:
    """Refuses `Aktivat2026!`: without the words of this place, too little is left."""

    def validate(self, password: str, user: User | None = None) -> None:
        left = password.lower()
        for word in WORDS:
            left = left.replace(word, "")
        if left != password.lower() and len(left) < ENOUGH:
            raise ValidationError(
                "This is easy to guess here. Use several words that have nothing to do with it.",
                code="password_of_this_place",
            )

    def get_help_text(self) -> str:
        return "Your password can't be the name of this product with a few characters added."
