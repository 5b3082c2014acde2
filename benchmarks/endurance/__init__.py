"""Long stress of a whole service: churn, storms and restarts. Nothing may be lost."""
