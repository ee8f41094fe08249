"""What exactly was trained."""

from ae_lightning.report.contributed import SectionMaker
from ae_lightning.report.overview import settings_table
from ae_lightning.report.page import Numbers


class SettingsSection(SectionMaker):
    """Settings, data, length and versions."""

    title = "What was trained"
    place = 900
    is_open = False

    def tables(self) -> list[Numbers]:
        """The settings, a line each."""
        return [settings_table(self.subject.run.config, self.subject.results)]
