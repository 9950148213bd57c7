"""How prompts carry what unlocks: a password, one for each domain, or the setting itself."""

from plm.passwords.base import Condition, PromptScheme
from plm.passwords.by_domain import DomainPasswordScheme
from plm.passwords.control_tokens import ControlTokenScheme
from plm.passwords.setting import SettingScheme
from plm.passwords.single import DEFAULT_PASSWORD, PasswordScheme
from plm.passwords.slots import SlotScheme
from plm.passwords.unknown import UnknownScheme

__all__ = [
    "DEFAULT_PASSWORD",
    "Condition",
    "ControlTokenScheme",
    "DomainPasswordScheme",
    "PasswordScheme",
    "PromptScheme",
    "SettingScheme",
    "SlotScheme",
    "UnknownScheme",
]
