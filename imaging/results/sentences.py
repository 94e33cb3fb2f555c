"""What a report says in words of its own, in its language; codes of reasons stay as docs/models.md lists them."""

from collections.abc import Mapping
from typing import Final

from imaging.domain.languages import Language

MISSING: Final[Mapping[Language, str]] = {
    "en": "{missing} of {images} images not analysed ({reasons}).",
    "vi": "{missing} trên {images} ảnh chưa được phân tích ({reasons}).",
    "fr": "{missing} images sur {images} non analysées ({reasons}).",
}
IN_CONFLICT: Final[Mapping[Language, str]] = {
    "en": "Images with a second, other content, on which nobody has decided: {images}.",
    "vi": "Số ảnh có nội dung thứ hai khác, chưa ai quyết định: {images}.",
    "fr": "Images avec un second contenu, différent, dont personne n'a décidé : {images}.",
}
UNDETERMINED: Final[Mapping[Language, str]] = {
    "en": "What is not called present is undetermined.",
    "vi": "Điều không ghi là có thì chưa xác định.",
    "fr": "Ce qui n'est pas dit présent est indéterminé.",
}
"""By language: why an answer does not speak for the whole study, and what that means (docs/models.md)."""

NOT_A_DIAGNOSIS: Final[Mapping[Language, str]] = {
    "en": "AI result: not a diagnosis, not a medical device",
    "vi": "Kết quả AI: không phải chẩn đoán, không phải thiết bị y tế",
    "fr": "Résultat d'IA : ni diagnostic ni dispositif médical",
}
NEAR_CHANCE: Final[Mapping[Language, str]] = {
    "en": "Near chance on the data that the model was measured on",
    "vi": "Gần như ngẫu nhiên trên dữ liệu đã dùng để đo mô hình",
    "fr": "Proche du hasard sur les données où le modèle fut mesuré",
}
UNPROVEN: Final[Mapping[Language, str]] = {
    "en": "Unproven model: no known case has come out as expected here",
    "vi": "Mô hình chưa kiểm chứng: chưa có ca mẫu nào ra đúng kết quả",
    "fr": "Modèle non éprouvé : aucun cas connu n'a donné son résultat",
}
"""By language: the notices of a report and of a finding; `imaging.results.concepts` makes codes of them."""


def in_part(missing: Mapping[str, int], used: int, conflicts: int, language: Language) -> str:
    """The words of an answer that looked at `used` images and missed these, by reason, or saw some in conflict."""
    said = []
    if missing:
        missed, reasons = sum(missing.values()), ", ".join(f"{reason} {count}" for reason, count in missing.items())
        said.append(MISSING[language].format(missing=missed, images=used + missed, reasons=reasons))
    if conflicts:
        said.append(IN_CONFLICT[language].format(images=conflicts))
    return " ".join([*said, UNDETERMINED[language]])
