"""What a report says in words of its own, in its language; codes of reasons stay as docs/models.md lists them."""

from collections.abc import Mapping
from typing import Final

from imaging.domain.findings import Finding
from imaging.domain.languages import Language

MISSING: Final[Mapping[Language, str]] = {
    "en": "{missing} of {images} images not analysed ({reasons}).",
    "vi": "{missing} trên {images} ảnh chưa được phân tích ({reasons}).",
    "fr": "{missing} images sur {images} non analysées ({reasons}).",
}
IN_CONFLICT: Final[Mapping[Language, str]] = {
    "en": "Images with a second, different version that is not decided on yet: {images}.",
    "vi": "Số ảnh có phiên bản thứ hai khác, chưa được quyết định: {images}.",
    "fr": "Images avec une seconde version, différente, en attente d'une décision : {images}.",
}
UNDETERMINED: Final[Mapping[Language, str]] = {
    "en": "Findings that are not reported as present are undetermined.",
    "vi": "Dấu hiệu không được ghi là có thì chưa xác định.",
    "fr": "Les signes qui ne sont pas rapportés comme présents sont indéterminés.",
}
"""By language: why an answer does not speak for the whole study, and what that means (docs/models.md)."""

NOT_A_DIAGNOSIS: Final[Mapping[Language, str]] = {
    "en": "AI result: not a diagnosis, not a medical device",
    "vi": "Kết quả AI: không phải chẩn đoán, không phải thiết bị y tế",
    "fr": "Résultat d'IA : ni diagnostic ni dispositif médical",
}
NEAR_CHANCE: Final[Mapping[Language, str]] = {
    "en": "Near chance on the data used to evaluate the model",
    "vi": "Gần như ngẫu nhiên trên dữ liệu đánh giá mô hình",
    "fr": "Proche du hasard sur les données d'évaluation du modèle",
}
UNPROVEN: Final[Mapping[Language, str]] = {
    "en": "Unproven model: no golden case has passed here",
    "vi": "Mô hình chưa kiểm chứng: chưa có ca mẫu nào cho kết quả đúng",
    "fr": "Modèle non éprouvé : aucun cas de référence n'a réussi ici",
}
"""By language: the notices of a report and of a finding; `imaging.results.concepts` makes codes of them."""


PLACES_TOLD: Final = 10
"""Of a finding, in words: the first, which are the most probable or the largest. JSON has all."""
PLACES: Final[Mapping[Language, str]] = {
    "en": "{finding}: places: {count}. Columns and rows are counted from 0, to the centres of pixels.",
    "vi": "{finding}: số vị trí: {count}. Cột và hàng đếm từ 0, đến tâm điểm ảnh.",
    "fr": "{finding} : emplacements : {count}. Colonnes et lignes comptées à partir de 0, au centre des pixels.",
}
PLACE: Final[Mapping[Language, str]] = {
    "en": "({number}){score} image {image}, frame {frame}, columns {left} to {right}, rows {top} to {bottom}{centre}.",
    "vi": "({number}){score} ảnh {image}, khung {frame}, cột {left} đến {right}, hàng {top} đến {bottom}{centre}.",
    "fr": "({number}){score} image {image}, trame {frame}, colonnes {left} à {right}, lignes {top} à {bottom}{centre}.",
}
SCORE: Final[Mapping[Language, str]] = {"en": " score {score},", "vi": " điểm {score},", "fr": " score {score},"}
CENTRE: Final[Mapping[Language, str]] = {
    "en": ", centre at {x} {y} {z} mm (LPS)",
    "vi": ", tâm tại {x} {y} {z} mm (LPS)",
    "fr": ", centre en {x} {y} {z} mm (LPS)",
}
"""By language: where a finding lies, in words, until viewers are given it as coordinates."""


def places(finding: Finding, language: Language) -> str:
    """Where a finding lies: how many places there are, and of the first ones image, box and middle."""
    said = [PLACES[language].format(finding=finding.code.meaning, count=len(finding.found))]
    for number, place in enumerate(finding.found[:PLACES_TOLD], 1):
        (image, frame), (left, top, right, bottom) = place.image, place.box
        score = "" if place.score is None else SCORE[language].format(score=f"{place.score:.4g}")
        centre = ""
        if place.centre_mm:
            x, y, z = place.centre_mm
            centre = CENTRE[language].format(x=f"{x:g}", y=f"{y:g}", z=f"{z:g}")
        box = {"left": f"{left:g}", "top": f"{top:g}", "right": f"{right:g}", "bottom": f"{bottom:g}"}
        said.append(PLACE[language].format(number=number, score=score, image=image, frame=frame, centre=centre, **box))
    return " ".join(said)


def in_part(missing: Mapping[str, int], used: int, conflicts: int, language: Language) -> str:
    """The words of an answer that looked at `used` images and missed these, by reason, or saw some in conflict."""
    texts = []
    if missing:
        missed, reasons = sum(missing.values()), ", ".join(f"{reason} {count}" for reason, count in missing.items())
        texts.append(MISSING[language].format(missing=missed, images=used + missed, reasons=reasons))
    if conflicts:
        texts.append(IN_CONFLICT[language].format(images=conflicts))
    return " ".join([*texts, UNDETERMINED[language]])
